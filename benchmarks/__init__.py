"""Side by side with the tools that do the same work, each pair measured in one run. Start with `make bench`."""
