"""How long tests wait for what may never come."""

# Seconds. It ends tests that hang; all of them take a small part of it, on busy machines too.
HANGING = 600
