"""The run: the whole critical path, from data to results, in a folder that can be resumed."""
