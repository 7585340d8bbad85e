"""The models at hand: files that come with medseg, each with a card that tells what it is and is not."""

from medseg.shipped.card import Card, read_card
from medseg.shipped.find import Shipped, find_model, is_shipped, shipped_model, shipped_models

__all__ = ["Card", "Shipped", "find_model", "is_shipped", "read_card", "shipped_model", "shipped_models"]
