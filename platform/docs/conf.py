"""How ``make docs`` turns the pages into a site (Sphinx, MyST); the repository's root is the source."""

project = "Twinward"
copyright = "Twinward's authors, Apache-2.0"
root_doc = "platform/docs/index"
extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
include_patterns = [
    "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "GLOSSARY.md",
    "platform/THREAT_MODEL.md", "platform/docs/**", "crypto/SPEC.md", "ledger/SPEC.md", "deploy/README.md",
]  # fmt: skip
myst_heading_anchors = 3
myst_url_schemes = ["http", "https", "mailto"]
suppress_warnings = ["myst.header", "misc.highlighting_failure"]
html_theme = "furo"
html_title = "Twinward"
html_static_path: list[str] = []
html_copy_source = False
