"""How well detection does on labelled data: the production's detection over history, its incidents against labels."""
