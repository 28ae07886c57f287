"""How many rows meet hidden criteria: a count under ElGamal that is differentially private whatever the asker sends.

**Setting.** A row is a level ``x_j`` of each feature ``j``; that nothing is known is a level too. The asker holds
``s``, ``P = sG`` in a group of prime order ``l`` (the prime-order subgroup of edwards25519, RFC 8032 and RFC 7748, as
libsodium computes in it). Every pair ``(A, B)`` of its elements is an encryption, under exponential ElGamal (Cramer,
Gennaro, Schoenmakers 1997), of exactly one number modulo ``l``: there is no pair that is none, so nothing to forge.

**Query** (``query``). For each feature and level a pair that encrypts the cost of that level: 0 where it is allowed.

**Answer** (``answer``). Of each row the sum of its pairs, ``S = Enc(cost)``; of each slot ``r S + rho (G, P)`` with
fresh uniform ``r``, ``rho``: an encryption of 0 if the cost is 0, else of a uniform other number, and independent of
everything else. Beside the rows stand ``W + Z`` slots that always match, ``W - Z`` and padding that never do, all in an
order of the operating system's random source. So what the asker sees is a function of ``matches + Z`` alone.

**Privacy** (``noise``). One row changes that sum by at most one, whatever the pairs hold. With two-sided geometric
``Z`` cut at ``W`` (Ghosh, Roughgarden, Sundararajan 2009) the answer is (epsilon, delta)-differentially private, for an
asker without bounds on its computing. That the criteria stay hidden rests on decisional Diffie-Hellman in the group:
not on anything that would withstand a quantum computer.
"""
