"""What is measured of a representation: codes, scores, reconstruction, pictures, controls."""
