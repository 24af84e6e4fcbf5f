"""Independent recomputations for the judge. They import nothing of ours, so what they find cannot be our own bug."""
