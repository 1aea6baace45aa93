"""The data room: rows in any form become a corpus of clean, split, fingerprinted texts."""
