"""Networks: each turns a seen cup into a posture and says what is eligible for change."""
