"""What learners that reach share: the controller, the own body and the senses."""
