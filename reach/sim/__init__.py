"""The simulated arm, hand, cup and senses. Knows nothing of rewards, learners or drawing."""
