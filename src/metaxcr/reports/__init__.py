"""What a run says about itself: figures and the self-contained HTML report."""
