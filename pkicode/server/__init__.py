"""What answers the network: a room with sockets, and without keys, CAs or leave to write."""
