"""The platform itself and what it stands on: processes that die, a database without room, clocks that are wrong.

Invariant: no fault is told to the platform; it meets each as it would in production, by what its ports answer.
"""
