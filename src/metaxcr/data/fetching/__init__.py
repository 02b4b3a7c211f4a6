"""Getting the files of declared tasks: from the authors' addresses and the hub, checked and recorded."""
