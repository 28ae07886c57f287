"""Obfuscation-grade: matrix encryption of a partition tree (PSim-DTH). It has no known-plaintext security.

Whoever holds the outsourced tree, has seen **one** token (not its query) and knows **one** record reads the other
records off eigenvalue ratios; with more tokens and ``d + 3`` known records, linear algebra alone gives everything,
exactly. Both breaks stand as tests that succeed (``tests/adversarial/similarity/test_matrix_breaks.py``). Use it to
keep a cloud from reading features by accident, never to keep them from somebody who tries. Gated homomorphic mode is
what protects.

``partition_tree`` is the plaintext tree, ``scheme`` the encryption, ``encrypted_tree`` what is outsourced and its
search, ``index`` the hospital's side of it (build, insert, delete, rebuild), ``token`` the query the hospital issues.
"""
