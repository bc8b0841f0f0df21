"""Images and where they come from: decoding, scanning, splitting and auditing."""
