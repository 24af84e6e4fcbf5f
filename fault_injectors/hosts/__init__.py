"""Hosts that are not as they should be: agents that fall silent, and the drifts of the chaos lab, eight a system.

Invariant: what has drifted is on record at the host itself, under the setting that has.
"""
