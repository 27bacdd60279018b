"""What the C++ core costs on CPUs, beside what one would use instead."""
