"""What each kernel costs beside what a user would call instead."""
