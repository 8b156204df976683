"""Networks: loading, training of the bundled ones, and their integer graphs."""
