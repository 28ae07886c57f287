"""Where the stays of a study come from: simulated, or what a hospital keeps."""
