"""What tests share: golden vectors, small runs, networks and sources, image trees, processes, samples of cases."""
