"""From the bytes of a request to the fields of an event. Nothing here touches the database."""
