"""The search index: what records are searched by, sealed beside them in blocks, and how it is read, held and filled."""
