"""A synthetic country and its monthly records, the comparison of a reform, and what prefilling avoids."""
