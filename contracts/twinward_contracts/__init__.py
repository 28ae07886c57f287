"""Compiled contract artefacts and their typed bindings. Running them needs neither node nor npm."""
