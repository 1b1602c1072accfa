"""The vocabulary that every tier shares. Pure: no I/O, no clock, no other package of ours."""
