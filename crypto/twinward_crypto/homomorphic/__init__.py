"""Similarity under homomorphic encryption: exact squared distances that the scoring side never sees.

Two arrangements, both over Microsoft SEAL (through ``tenseal.sealapi``):

* *vendor-key* (``query``, ``database``, ``scoring``): BFV. The vendor encrypts its query under its own key, the
  hospital scores it against plaintext features, the vendor decrypts distances. It protects the query. It protects the
  hospital's features only against a vendor that forms its ciphertexts honestly; see ``scoring``.
* *gated* (``gated``): CKKS. Index and query are encrypted under the key of the hospital's gate; whoever scores sees
  neither, and raw decryptions never leave the gate (CKKS is not IND-CPA-D secure: Li and Micciancio, Eurocrypt 2021).

``parameters`` chooses the numbers and refuses what cannot be exact; ``wire`` frames what travels.
"""
