"""What is wrong with a training before it starts: `gcvideo doctor`."""
