"""Pictures and where they come from: the one decoder, scanning of data sets, splits."""
