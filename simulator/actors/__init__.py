"""The parties around the platform. Each keeps its own books and knows nothing of the platform's."""
