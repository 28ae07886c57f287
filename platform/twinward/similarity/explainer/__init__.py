"""One matrix-mode search, drawn: the tree, the path the cloud walked, and everything the cloud saw on the way.

``observe`` repeats a search and writes down what its holder saw; ``write_explainer`` turns that into one HTML file
that fetches nothing. The page shows no feature, no handle and no distance of a patient, only whether a test was
passed and how far its encrypted value is from the plain one. ``write_count_page`` does the same for one feasibility
count: what the hospital saw, what the vendor saw, the interval.
"""

from twinward.similarity.explainer.count_page import CountObservation, write_count_page
from twinward.similarity.explainer.observation import Observation, observe
from twinward.similarity.explainer.page import write_explainer

__all__ = ["CountObservation", "Observation", "observe", "write_count_page", "write_explainer"]
