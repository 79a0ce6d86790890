"""The simulated arm, hand, cup, senses and tasks, compiled. Knows nothing of Gymnasium, learners or drawing."""
