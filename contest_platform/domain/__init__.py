"""The platform's arithmetic: pure functions of integers, without ports, clocks or chance."""
