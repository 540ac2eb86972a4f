"""What is compared. `registry` lists them; each module is one side, or the program of one."""
