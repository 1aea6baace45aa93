"""Making a student smaller: vocabulary, export, quantisation."""
