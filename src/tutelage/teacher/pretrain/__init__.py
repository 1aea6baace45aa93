"""A model from raw text: tokenizer, blocks of tokens, objective, training. `tutelage.pretraining` calls them."""
