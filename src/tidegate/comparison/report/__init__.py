"""What a comparison came to: the advice, the table, the pictures, and the page that shows them."""
