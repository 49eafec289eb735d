"""How people ask for a correction or a completion: ``{}`` stands for their text."""

from __future__ import annotations

FIX = [
    "Fix the grammar: {}", "Fix the grammar: {}", "Correct the grammar: {}", "Fix grammar: {}",
    "Fix the grammar in this sentence: {}", "Correct this sentence: {}", "Proofread: {}",
    "Proofread this: {}", "Proofread this sentence: {}", "Please proofread: {}",
    "Please fix the grammar: {}", "Please correct the grammar: {}", "Correct my English: {}",
    "Please correct my English: {}", "Fix my grammar: {}", "Correct the mistakes: {}",
    "Correct any mistakes in this sentence: {}", "Fix the errors: {}", "Fix the mistakes: {}",
    "Fix spelling and grammar: {}", "Fix the spelling: {}", "Correct the spelling: {}",
    "Check my grammar: {}", "Check the grammar of this sentence: {}", "Correct: {}",
    "Grammar check: {}", "Correct the following sentence: {}", "Fix the following sentence: {}",
    "Correct the errors in the following text: {}", "Can you fix the grammar? {}",
    "Can you correct this sentence? {}", "Could you proofread this? {}", "Edit: {}",
    "Could you please correct this: {}", "Improve the grammar: {}", "Rewrite correctly: {}",
    "Make this grammatical: {}", "Remove the errors from this: {}", "Fix typos: {}",
    "Fix any typos in this: {}", "Edit this for grammar: {}", "Fix this: {}",
    "{}\n\nFix the grammar.", "{}\n\nCorrect the mistakes.", "{}\nPlease proofread this.",
    "{} Fix the grammar.", "Fix the grammar:\n{}", "Correct this sentence:\n\n{}",
    "Proofread this:\n{}", "Correct the grammar and spelling of the text below.\n\n{}",
    'Fix the grammar: "{}"', 'Correct this sentence: "{}"', "{}",
]  # fmt: skip
COMPLETE = [
    "Complete the sentence: {}", "Complete the sentence: {}", "Complete this sentence: {}",
    "Finish the sentence: {}", "Finish this sentence: {}", "Continue the sentence: {}",
    "Continue: {}", "Complete: {}", "Please complete the sentence: {}", "Continue this text: {}",
    "Please finish this sentence: {}", "Complete the following sentence: {}",
    "How does this sentence end? {}", "Fill in the rest: {}", "Autocomplete: {}",
    "Complete the sentence: {}...", "Finish this sentence: {}...", "Continue: {}...",
    'Complete the sentence: "{}"', "Complete the sentence:\n{}", "Write the ending: {}",
    "Can you finish this sentence? {}", "Complete the phrase: {}",
]  # fmt: skip
