"""The simulation study: false incidents, delays and clearing of every detector beside a clairvoyant bound."""
