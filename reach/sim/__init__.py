"""The simulated arm, hand, cup, senses and tasks, compiled. They do not depend on Gymnasium, learners or drawing."""
