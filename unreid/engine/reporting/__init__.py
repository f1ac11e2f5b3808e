"""What a report is made of: the files of a run, and what its network says about its images."""
