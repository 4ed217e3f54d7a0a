"""Values that show nowhere, where they are kept, and who may ask for them."""
