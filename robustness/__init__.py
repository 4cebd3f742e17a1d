"""What the project withstands: mutated input (`make fuzz`) and faults (`make faults`), each with a table."""
