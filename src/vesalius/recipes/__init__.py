"""Training scripts in a straight line: each is one frozen `Args` and one `main(args)`."""
