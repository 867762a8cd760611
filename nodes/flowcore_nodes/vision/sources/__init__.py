"""Where frames come from. `address` tells the kinds apart; `replayed` ones can be read again, `live` ones not."""
