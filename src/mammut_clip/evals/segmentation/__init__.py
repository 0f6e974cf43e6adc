"""What the two kinds of segmentation share, and what fine-tuning needs.

pictures    a picture with its mask, and which of them a training step sees
augment     random scale, flip, colours and crop
windows     whole pictures through a tower that sees squares
dense       image towers at other sizes, and their features per patch
segmenter   a tower with a linear head
recipe      how it is fine-tuned
finetune    the training
measure     from pictures to one confusion matrix
"""
