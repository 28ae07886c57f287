"""Access: who may, what for and why; the permit without which nothing is opened.

Others enter through ``interfaces``: an ``AccessContext`` says who asks, and ``AccessControl`` decides what it requests.
``service`` puts ``policy``, ``consent`` and ``emergencies`` together and has ``permits`` made; ``accounts`` knows who
is who.
"""
