"""Labels, purely: files, votes, agreement, doubtful labels, queues, pairs."""
