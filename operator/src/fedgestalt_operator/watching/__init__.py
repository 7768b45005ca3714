"""What both roles need of kopf: who we are, and watches that cannot stall unseen. Nothing else imports kopf but routes."""
