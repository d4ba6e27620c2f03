"""Values to text: human, markdown, html, json.  Decides what is said, never what is done."""
